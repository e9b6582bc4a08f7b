"""Every verb of the product, declared once; the API and the command line are made from these declarations."""
