"""Named data sets: fetched, verified, unpacked and put in order."""
