"""Idempotency keys: a request that comes again is answered as the first time, and done once.

middleware   which requests come with a key, and what they say
service      claims a key, keeps the answer in the transaction of the change, gives the key back when nothing was changed
repository   the SQL
sweeper      answers that need not be kept any more, in the background
"""
