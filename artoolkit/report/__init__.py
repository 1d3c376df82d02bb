"""Pictures and pages for people: overlays, figures, the HTML report."""
