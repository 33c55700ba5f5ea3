"""The handlers of kopf, which watches and reports that something changed."""
