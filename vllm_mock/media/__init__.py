"""What is seen and heard: pictures, films, speech, and what is heard in a recording.

Pillow and PyAV are imported when the first of these is asked for: a server of texts needs neither.
"""
