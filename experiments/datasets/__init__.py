"""The data sets of the benchmark: where they come from, their checksums, and how they are read.

1. ``sources`` finds a file in a folder or downloads it, and accepts it only with the right checksum;
2. ``text`` has the words, vocabularies and columns of a corpus; ``penn`` and ``wikitext`` are the two corpora;
3. ``mnist`` has images and labels;
4. ``generated`` makes small data sets of the same form, with which the code runs without any data.
"""
