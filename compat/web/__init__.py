"""`celeriac web`: one page that shows a cluster and steers it, with a memory of its own.

Law: what is decided is apart from what is done. `records`, `series`, `family`, `search`, `http` and `guard` compute and
touch nothing; `store` has the file, `watch` the cluster, `server` the sockets. Whatever an event says is somebody
else's text: it is clipped here and shown there as text, never as markup.
"""
