"""What was written, by whom and when, and what that means for remembered replies."""
