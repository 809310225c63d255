"""What leaves the house: models with their cards, predictions, submissions to XTREME and their scores."""
