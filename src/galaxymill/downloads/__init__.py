"""Files that others have published, brought here whole and as they were served."""
