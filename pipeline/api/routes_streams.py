"""Streams: the routes of `pipeline.tenants.streams`."""

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import AwareDatetime, Field

from pipeline.accounts.errors import Invalid, PreconditionFailed
from pipeline.accounts.roles import Principal
from pipeline.api.routes_accounts import Body
from pipeline.api.serving import Served, allowed
from pipeline.tenants import streams
from pipeline.tenants.streams import Anchor, Stream, StreamPage, StreamSettings

router = APIRouter()
IfMatch = Annotated[str | None, Header(max_length=100)]
StreamName = Annotated[str, Path(max_length=128)]
Sensitivity = Annotated[Decimal, Field(ge=0, le=1, max_digits=4, decimal_places=3)]


def version_of(if_match: str | None) -> int | None:
    """The version that an If-Match names, None without one (RFC 9110, 13.1.1)."""
    if if_match is None or if_match.strip() == "*":
        return None
    said = if_match.strip()
    if not (
        said.startswith('"v')
        and said.endswith('"')
        and said[2:-1].isascii()
        and said[2:-1].isdigit()
        and len(said) < 13
    ):
        raise Invalid('If-Match must be the etag that GET gives, like "v3", or *')
    return int(said[2:-1])


class StreamPatch(Body):
    """What changes of a stream; null unsets, what is left out stays."""

    sensitivity: Sensitivity | None = None
    entity_field: Annotated[str | None, Field(min_length=1, max_length=256)] = None
    paused: bool = False
    maintenance_until: AwareDatetime | None = None
    muted: bool = False


@router.get("/v1/streams", tags=["streams"])
def get_streams(
    served: Served,
    principal: Annotated[Principal, Depends(allowed("streams:read"))],
    cursor: Annotated[str | None, Query(max_length=128)] = None,
    limit: Annotated[int, Query(ge=1, le=streams.MOST_A_PAGE)] = 100,
) -> StreamPage:
    """Streams by name."""
    with served.tenants() as connection:
        return streams.list_streams(connection, principal.organization_id, cursor=cursor, limit=limit)


@router.get("/v1/streams/{stream}", tags=["streams"])
def get_stream(
    served: Served,
    principal: Annotated[Principal, Depends(allowed("streams:read"))],
    response: Response,
    stream: StreamName,
) -> Stream:
    """One stream. ETag names its settings."""
    with served.tenants() as connection:
        found = streams.get_stream(connection, principal.organization_id, stream)
    response.headers["ETag"] = f'"v{found.version}"'
    return found


@router.patch("/v1/streams/{stream}", tags=["streams"])
def patch_stream(
    served: Served,
    principal: Annotated[Principal, Depends(allowed("streams:write"))],
    response: Response,
    stream: StreamName,
    body: StreamPatch,
    if_match: IfMatch = None,
) -> Stream:
    """Change settings of a stream."""
    with served.tenants() as connection:
        before = streams.get_stream(connection, principal.organization_id, stream)
        version = version_of(if_match)
        if version is not None and version != before.version:
            raise PreconditionFailed(f'If-Match does not name the present version, which is "v{before.version}"')
        given = {name: getattr(body, name) for name in body.model_fields_set}
        found = streams.set_stream(
            connection,
            principal.organization_id,
            stream,
            StreamSettings(
                **{name: given.get(name, getattr(before.settings, name)) for name in StreamPatch.model_fields}
            ),
            by=principal.actor,
            if_version=before.version,
            at=served.now(),
        )
    response.headers["ETag"] = f'"v{found.version}"'
    return found


@router.delete("/v1/streams/{stream}", status_code=204, tags=["streams"])
def delete_stream(
    served: Served, principal: Annotated[Principal, Depends(allowed("streams:write"))], stream: StreamName
) -> None:
    """Unset a stream's settings and forget what was learned of it; its anomalies stay."""
    with served.tenants() as connection:
        streams.delete_stream(connection, principal.organization_id, stream, by=principal.actor, at=served.now())


@router.get("/v1/streams/{stream}/anchor", tags=["streams"])
def get_anchor(
    served: Served, principal: Annotated[Principal, Depends(allowed("streams:read"))], stream: StreamName
) -> Anchor:
    """A stream's frozen anchor, and how far its present is from it, in bits an event."""
    with served.tenants() as connection:
        found = streams.get_stream(connection, principal.organization_id, stream)
    return found.anchor or Anchor(0, streams.CALIBRATED_FROM, None)


@router.post("/v1/streams/{stream}/anchor", status_code=202, tags=["streams"])
def post_anchor(
    served: Served, principal: Annotated[Principal, Depends(allowed("streams:write"))], stream: StreamName
) -> Anchor:
    """Let the stream's present become its anchor, within seconds; the answer is how it was before."""
    with served.tenants() as connection:
        found = streams.reset_anchor(connection, principal.organization_id, stream, by=principal.actor, at=served.now())
    return found.anchor or Anchor(0, streams.CALIBRATED_FROM, None)
