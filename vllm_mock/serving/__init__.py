"""How the WSGI application is run: gunicorn in-process or by its command, with Werkzeug as a fallback."""
