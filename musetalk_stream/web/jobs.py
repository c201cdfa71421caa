"""Jobs: uploads on their way to avatars, watched, approved and cancelled."""

from aiohttp import web

from ..errors import NotFound
from ..jobs import Job
from .access import caller
from .context import services
from .event_stream import one_by_one, stream_events
from .parameters import hint, parameters
from .parts import send_file
from .uploads import storage_errors


def _job(request: web.Request) -> Job:
    """The job that the path names, for who may see it. Raises JobNotFound."""
    return services(request).jobs.get(request.match_info["job_id"], caller(request))


async def list_jobs(request: web.Request) -> web.Response:
    its = caller(request)
    documents = [job.document() for job in services(request).jobs.all() if its.owns(job.owner)]
    return web.json_response({"jobs": documents})


async def get_job(request: web.Request) -> web.Response:
    return web.json_response(_job(request).document())


async def job_events(request: web.Request) -> web.StreamResponse:
    return await stream_events(request, one_by_one(request, _job(request).follow()))


async def job_picture(request: web.Request) -> web.StreamResponse:
    """The picture in which the face was found. Another one may be there after another look."""
    job = _job(request)
    gone = NotFound("this job shows no picture: it has none yet, or is over")
    if not job.has_picture:
        raise gone
    headers = {"Content-Type": "image/jpeg", "Cache-Control": "no-cache"}
    return await send_file(request, job.work.picture, headers, gone)


async def approve_job(request: web.Request) -> web.Response:
    job = _job(request)
    said = hint(await parameters(request))
    with storage_errors():
        services(request).jobs.approve(job, said)
    return web.json_response(job.document())


async def delete_job(request: web.Request) -> web.Response:
    await services(request).jobs.cancel(_job(request))
    return web.Response(status=204)
