"""Speed, memory and start-up, as the README shows them."""
