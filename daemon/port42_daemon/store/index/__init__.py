"""`index.db`: what is asked across sessions, derived from their files and rebuilt at will.

index         the questions
state         how far it is, and who waits for that
indexer       the background thread that reads files
writer        rows and text written, what appends told it first
write_buffer  what appends told it and is not written yet
schema        the database: its tables, opened, checked, made anew
sessions      rows of sessions and the lists of them
messages      the text of messages, kept so that it is found and can be deleted
stats         sums by the hour
search        a query's hits, ranked, with what is shown of each
query         what people type, turned into an expression of FTS5
snippet       the piece of a text that is shown of a hit
tokens        text as it is indexed
"""
