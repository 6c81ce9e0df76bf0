"""What holds for all tests."""

from hypothesis import settings

from tests.storage.a_bucket import bucket, faulty_bucket, moto  # noqa: F401  (fixtures, known to all tests)

# No deadline: on a busy machine an example takes as long as it takes. The blob makes a failure repeatable.
settings.register_profile("launcher", deadline=None, print_blob=True)
settings.load_profile("launcher")
