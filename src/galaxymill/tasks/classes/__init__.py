"""The task of classes."""
