"""Why a model says what it says: saliency maps, numbers that check them, and pictures of them."""
