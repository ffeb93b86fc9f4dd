"""Facts of one machine: one probe for each subject, all joined into one script."""
