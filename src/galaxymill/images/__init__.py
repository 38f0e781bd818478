"""From the bytes a service sent to the picture a volunteer would see."""
