"""Where kopf is: it watches, and says that something changed."""
