"""What one organization sees and changes of itself: each a plain function of a connection and the organization."""
