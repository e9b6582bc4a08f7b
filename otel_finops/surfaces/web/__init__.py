"""What the API and the console have in common on the web: who asks, how often, and what the texts of a URL stand for."""
