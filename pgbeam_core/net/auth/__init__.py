"""Who a client is, and how PgBeam proves to servers that it may speak for it.

`login` goes the way of one login; `exchange` asks the client; `checks` judge its answers; `secrets` knows what they are
judged by, with `auth_query` and `users_file`; `own_passwords` has what PgBeam itself logs in with.
"""
