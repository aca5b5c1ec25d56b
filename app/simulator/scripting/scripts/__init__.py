"""The scripts, by subject. Each public function is one script or what several of them share."""
