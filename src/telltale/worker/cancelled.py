"""The exceptions of a cancellation: inside the run, and outside of it."""


class Cancelled(BaseException):
    """The task was cancelled. Raised inside the task, at the next iteration of `progress` or in `check_cancelled()`.

    Not an `Exception`, because code that catches `Exception` for each row would otherwise continue to the last row.
    Source: docs/decisions/0008-cancelled-is-a-base-exception.md.
    """


class RunCancelled(Cancelled, Exception):
    """A `Cancelled` outside its run, after the end is written.

    Also an `Exception`, because any other `BaseException` may end the worker or the server.
    """


def out_of_run(error: BaseException) -> BaseException:
    """The exception to raise outside the run in place of `error`.

    A `Cancelled`, or an exception group that holds nothing else, becomes a `RunCancelled`. A group that holds other
    errors too loses its cancellations. Any other error is returned unchanged.
    """
    if isinstance(error, Cancelled):
        return error if isinstance(error, RunCancelled) else RunCancelled(*error.args)
    if not isinstance(error, BaseExceptionGroup):
        return error
    cancellations, others = error.split(Cancelled)
    if cancellations is None:
        return error
    return RunCancelled() if others is None else others
