"""A page to hear the codec by: recordings in, sizes, spectrograms, lost packets and live speech out.

Served to one's own machine by Starlette and uvicorn, with a front end that needs no network and no build.
"""
