"""Bills of providers: what they say, and how their files are read."""
