"""The data sets of the benchmark: where they come from, what they must be, and how they are read.

1. ``sources``: a file found in a folder or downloaded, and accepted by its checksum alone;
2. ``text``: words, vocabularies and columns of a corpus; ``penn`` and ``wikitext``: the two corpora;
3. ``mnist``: images and labels;
4. ``generated``: small ones in the same form, made on the spot, to try the code without any data.
"""
