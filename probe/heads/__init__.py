"""The heads: what is trained on features, each with its options and its protocol of selection and refit."""
