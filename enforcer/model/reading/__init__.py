"""What `parse` reads with: `document` turns text into data with lines, `draft` holds the sound items on their way,
`checks` and `placement` ask whether they fit together. Nothing outside of `model` needs these.
"""
