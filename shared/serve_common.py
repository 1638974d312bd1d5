"""What both servers agree on."""

GRACE = 20  # seconds for requests under way when the process is asked to stop
KEEP_ALIVE = 75  # seconds: a server that hangs up sooner than its clients costs them a request now and then
BROKEN = 500  # the readiness probe's answer where the function could not be built: a configuration error
