"""What a user sees of a running study: the terminal, TensorBoard, and who follows a session."""
