"""An example of a backend: all jobs in one JSON file, which is read and written as a whole.

As slow as it sounds, and right all the same: it passes the conformance kit.

    pip install -e . && pytest --ostinato-conformance 'shelf:////tmp/{name}.json'
"""
