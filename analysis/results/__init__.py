"""What a study found beside its choice: effects, importance, margins, the final test."""
