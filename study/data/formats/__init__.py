"""Every form that images come in: one file a form (`study.data.file_formats`)."""
