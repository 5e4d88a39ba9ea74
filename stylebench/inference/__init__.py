"""What is used after training: translators and classifiers, loading and export."""
