"""Networks from elsewhere: audited before any loader opens them, so that nothing of a foreign file runs."""
