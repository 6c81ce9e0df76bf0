"""What holds for all tests."""

from hypothesis import settings

# No deadline: on a busy machine an example takes as long as it takes. The blob makes a failure repeatable.
settings.register_profile("launcher", deadline=None, print_blob=True)
settings.load_profile("launcher")
