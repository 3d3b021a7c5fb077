"""Serve: films in over HTTP, readings or refusals out; every upload is taken to be hostile and private.

`app.create_app` makes the web application, `running.serve` runs it. Nothing is imported here, so that the process that
decodes films loads no web server.
"""
