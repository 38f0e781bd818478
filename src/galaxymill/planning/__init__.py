"""What a run will cost, counted before anything heavy is done."""
