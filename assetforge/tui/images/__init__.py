"""Pictures in a terminal: what it can show, pictures as half cells and as protocols, thumbnails, differences."""
