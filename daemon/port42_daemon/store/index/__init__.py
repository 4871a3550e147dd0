"""`index.db`: what is asked across sessions, derived from their files and rebuilt at will.

index      the one object others know: what waits to be written, who waits for what
waiting    what it was told and has not written yet
database   the file: its tables, opened, checked, made anew
sessions   rows of sessions and the lists of them
messages   the text of messages, kept so that it is found and can be taken back
searching  a query's hits, ranked, with what is shown of each
query      what people type, turned into an expression of FTS5
words      text as it is indexed
"""
