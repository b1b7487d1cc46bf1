"""paser-opt."""
