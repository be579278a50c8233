"""Rows of a query, from any database that SQLAlchemy knows; only what is new where a watermark is named."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ftcore.data import period, snapshot, watermarks
from ftcore.data.credentials import connection, scrub
from ftcore.data.sources._base import Mapped
from ftcore.data.sources._mapping import Batch, Mapper, require
from ftcore.data.values import plain
from ftcore.data.watermarks import Cursor
from ftcore.errors import AwayError, ConfigurationError, DataRejectedError, FtcoreError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import URL, Connection, Executable

    from ftcore.context import Context

ROWS = 2_000
"""Rows fetched at a time."""
_ENDS = re.compile(r"(?<![:\\\w]):(since|until)\b")
DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}


class Sql(Mapped):
    """The rows of one query; the database's address and password come from the environment."""

    EXAMPLE: ClassVar[dict[str, Any]] = {
        "kind": "sql",
        "connection": "warehouse",
        "query": "SELECT text, label FROM tickets",
    }

    kind: Literal["sql"] = "sql"
    connection: Annotated[str, Field(pattern=r"^[A-Za-z]\w{0,59}$")]
    """Name of a connection: its SQLAlchemy URL stands in ``FTCORE_CONNECTION_NAME``, or as Airflow writes it in
    ``AIRFLOW_CONN_NAME``."""
    query: Annotated[str, Field(min_length=1)]
    """One SELECT without a semicolon. ``:name`` stands for a parameter; a colon of the query's own is ``\\:``.
    ``:since`` and ``:until`` are the period that a backfill asks for and null in any other run: a query that uses them,
    as in ``WHERE (CAST(:since AS timestamptz) IS NULL OR at >= :since)``, sends no row that would be left out."""
    parameters: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """Values of the query's parameters; they are bound, never written into the query."""
    watermark: str | None = None
    """Column that only grows, such as ``updated_at`` or a serial key. With it the next snapshot holds the rows of the
    one before and those that came or changed since. It must never be null. Rows with the last value seen are read
    again, so give ``id`` where rows change. Where the rules of ``prepare``, ``validation`` or ``task`` change, all rows
    are read again, so that rows that were left out are looked at anew."""
    overlap: Annotated[float, Field(ge=0)] = 0
    """How far behind the largest watermark seen the next read starts, for rows that are committed late: in the
    watermark's own unit where it is a number, in seconds where it is a time, in days where it is a date. As long as the
    longest transaction that writes such rows takes."""
    deleted: str | None = None
    """Column that says that a row is gone: true, not zero, or a time. Such rows leave the next snapshot."""
    deletions: Literal["keep", "compare"] = "keep"
    """What happens to rows that are no longer at the source: ``keep`` them, or ``compare``, which asks for all ids at
    each read and lets go of rows whose id is not there any more."""

    @model_validator(mode="after")
    def _knows_what_is_gone(self) -> Sql:
        for name, asked in (("deleted", self.deleted), ("deletions", self.deletions == "compare")):
            if asked and (not self.id or "{" in self.id):
                raise ValueError(f"{name} needs the source's own key: name a column as id")
            if asked and not self.watermark:
                raise ValueError(f"{name} needs a watermark: without one all rows are read each time")
        if self.overlap and not self.watermark:
            raise ValueError("overlap needs a watermark: without one all rows are read each time")
        return self

    @property
    def incremental(self) -> bool:
        """Whether there is a watermark."""
        return bool(self.watermark)

    def tables(self, context: Context) -> Iterator[pa.Table]:
        """All rows of the query, as the server sends them.

        Raises:
            ConfigurationError: the connection is not set.
            MissingExtraError: its driver is not installed.
            DataRejectedError: the query cannot be run, or lacks a column.
            AwayError: the server does not answer, or goes away.
        """
        return self._tables(context, Cursor())

    def read_since(self, context: Context, cursor: Cursor) -> Iterator[pa.Table]:
        """Rows from the cursor on, in the order of the watermark; ``cursor.reached`` follows.

        Raises:
            As ``read``.
        """
        return self.sampled(self._tables(context, cursor))

    def present(self, context: Context) -> Iterator[list[str]] | None:
        """Row ids of all that the source holds now, some thousands at a time; None where rows that are gone are kept.

        Raises:
            As ``read``.
        """
        return self._ids(context) if self.deletions == "compare" else None

    def _ids(self, context: Context) -> Iterator[list[str]]:
        from sqlalchemy import column, select, text

        where = self.source_name()
        key: Any = column(str(self.id))
        statement = select(key).select_from(text(f"({self.query}\n) AS ftcore_rows"))
        values = self._bound(Cursor(), period.asked(context.params))
        with self._connected(where) as database, closing(database.execute(statement, values)) as result:
            for rows in result.partitions(ROWS):
                keys = [plain(row[0]) for row in rows]
                yield [snapshot.row_id(where, snapshot.source_key(key)) for key in keys if key]

    def source_name(self) -> str:
        """Name that the rows of this source carry."""
        return f"sql:{self.name or self.connection.lower()}"

    def _tables(self, context: Context, cursor: Cursor) -> Iterator[pa.Table]:
        where = self.source_name()
        mapper = Mapper.reading(self, context, where)
        values = self._bound(cursor, period.asked(context.params))
        with (
            self._connected(where) as database,
            closing(database.execute(self._statement(cursor), values)) as result,
        ):
            names = list(result.keys())
            require(f"the query of {where}", [*mapper.columns, *filter(None, [self.watermark, self.deleted])], names)
            numbers = itertools.count(1)
            for rows in result.partitions(ROWS):
                columns = dict(zip(names, zip(*rows, strict=True), strict=True))
                if self.watermark:
                    _follow(columns[self.watermark], cursor, where, self.watermark)
                places = list(itertools.islice(numbers, len(rows)))
                if self.deleted:
                    gone = [_is_set(value) for value in columns[self.deleted]]
                    if any(gone):
                        table = mapper.table(_some(columns, where, places, gone))
                        cursor.deleted.update(table["row_id"].to_pylist())
                    yield mapper.table(_some(columns, where, places, [not one for one in gone]))
                else:
                    yield mapper.table(Batch(columns, where, places, unit="row"))
            mapper.finish()

    def _statement(self, cursor: Cursor) -> Executable:
        from sqlalchemy import bindparam, column, or_, select, text

        if not self.watermark:
            return text(self.query)
        # The column is quoted by the dialect and the value bound; the query itself is the recipe's.
        mark: Any = column(self.watermark)
        statement = select(text("*")).select_from(text(f"({self.query}\n) AS ftcore_rows")).order_by(mark)
        if cursor.since is None:
            return statement
        return statement.where(or_(mark >= bindparam("ftcore_since"), mark.is_(None)))

    def _bound(self, cursor: Cursor, asked: period.Period | None) -> dict[str, Any]:
        """Values of the query's parameters: the run's period where it names that, the recipe's own, the watermark."""
        ends = {name: getattr(asked, name, None) for name in set(_ENDS.findall(self.query))}
        mark = {} if cursor.since is None else {"ftcore_since": watermarks.before(cursor.since, self.overlap)}
        return {**ends, **self.parameters, **mark}

    @contextmanager
    def _connected(self, where: str) -> Iterator[Connection]:
        """A connection that reads as a stream, whose errors speak plainly and hold no password."""
        from sqlalchemy import create_engine, exc
        from sqlalchemy.pool import NullPool

        given = connection(self.connection)
        url = _url(given, self.connection)
        secrets = [given, url.render_as_string(hide_password=False), str(url.password or "")]
        options: dict[str, Any] = {"stream_results": True, "yield_per": ROWS, "max_row_buffer": ROWS}
        postgres = url.get_backend_name() == "postgresql"
        if postgres:
            options["postgresql_readonly"] = True
        arguments = {"connect_timeout": 10} if postgres else {}
        try:
            engine = create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)
            with engine.connect().execution_options(**options) as database:
                yield database
        # Not chained: what a driver says may repeat the URL, and a traceback would print it.
        except exc.NoSuchModuleError:
            raise FtcoreError(f"{where}: SQLAlchemy knows no database {url.drivername!r}") from None
        except ImportError as error:
            hint = "pip install 'ftcore[sources]', or the driver that the URL names"
            raise MissingExtraError(f"{where}: the database driver is not installed: {error}", hint) from None
        except exc.SQLAlchemyError as error:
            raise _translated(where, error, secrets, url) from None


def _some(columns: dict[str, Any], where: str, places: list[int], taken: list[bool]) -> Batch:
    """Some rows of a batch."""
    chosen = {name: list(itertools.compress(values, taken)) for name, values in columns.items()}
    return Batch(chosen, where, list(itertools.compress(places, taken)), unit="row")


def _is_set(value: object) -> bool:
    """Whether a value says yes, in the type in which a database keeps it: a time says it, too."""
    if isinstance(value, str):
        return value.strip().casefold() not in {"", "0", "f", "n", "no", "false"}
    return bool(value)


def _follow(values: tuple[Any, ...], cursor: Cursor, where: str, column: str) -> None:
    if any(value is None for value in values):
        raise DataRejectedError(
            f"{where}: the watermark {column!r} is null in a row", hint="a row without it would be skipped next time"
        )
    cursor.reached = values[-1]  # the server's order counts, not Python's: collations differ


def _url(given: str, name: str) -> URL:
    from sqlalchemy import exc, make_url

    try:
        url = make_url(given)
    except (exc.ArgumentError, ValueError):
        said = f"the connection {name!r} is not a URL such as postgresql://USER@HOST/DATABASE"
        raise ConfigurationError(said) from None
    url = url.difference_update_query(["__extra__"])  # Airflow's own
    return url.set(drivername=DRIVERS.get(url.drivername, url.drivername))


_WRONG = ("does not exist", "invalid connection option", "invalid URI", "no pg_hba.conf entry", "Unknown database")
"""What drivers say of a connection that no wait makes better; they raise the same class for a server that is away."""


def _translated(where: str, error: Any, secrets: list[str], url: URL) -> FtcoreError:
    from sqlalchemy import exc

    said = scrub(getattr(error, "orig", None) or error, secrets).strip().splitlines()[0]
    if "authentication failed" in said or "Access denied" in said:
        return FtcoreError(f"{where}: the server refuses the login", hint="fix the connection in the environment")
    if isinstance(error, exc.OperationalError | exc.InterfaceError) and any(words in said for words in _WRONG):
        hint = "fix the connection in the environment"
        return FtcoreError(f"{where}: the connection names something that is not there: {said}", hint=hint)
    lost = isinstance(error, exc.DBAPIError) and error.connection_invalidated
    if url.get_backend_name() == "sqlite":
        lost = any(word in said for word in ("locked", "busy"))
    elif isinstance(error, exc.OperationalError | exc.InterfaceError):
        lost = True
    if lost:
        return AwayError(f"{where}: the database went away or does not answer: {said}")
    return DataRejectedError(f"{where}: the query cannot be run: {said}")
