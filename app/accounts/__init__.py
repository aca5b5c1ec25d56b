"""RingCentral accounts: their credentials and tokens, what each connection can access, and what is wrong with
it.
"""
