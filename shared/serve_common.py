"""What servers and clients agree on."""

GRACE = 20  # seconds for requests under way when the process is asked to stop
KEEP_ALIVE = 75  # seconds: a server that hangs up sooner than its clients costs them a request now and then
IDLE = 30  # seconds, so, after which our own clients close a connection they do not use
BROKEN = 500  # the readiness probe's answer where the function could not be built: a configuration error
