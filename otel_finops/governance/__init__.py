"""What governs spend: switches that stop calls."""
