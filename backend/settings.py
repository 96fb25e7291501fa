"""One settings object for all processes, read from the environment (``PROPONENT_*``) or a ``.env`` file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting of Proponent; docs/reference/settings.md lists them."""

    model_config = SettingsConfigDict(env_prefix="PROPONENT_", env_file=".env", extra="ignore", frozen=True)

    home: Path = Path("var")
    """Folder of all artifacts and of the SQLite catalogue."""

    database_url: str | None = None
    """SQLAlchemy URL of the catalogue; the default is ``proponent.db`` in the home, as SQLite."""

    host: str = "127.0.0.1"
    """Address that `proponent serve` listens on."""

    port: int = Field(default=8000, ge=0, le=65535)
    """Port that `proponent serve` listens on."""

    public_url: str | None = None
    """Address under which readers reach the site, for links that leave it; by default that of each request."""

    development: bool = False
    """Serve /dev/patterns, the page of all parts of pages."""

    threads: int = Field(default=0, ge=0)
    """Threads for numerical work; 0 = all cores. Equal bytes are promised for equal thread counts."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run: auto (CUDA where there is one), cpu or cuda."""

    asking: Literal["anyone", "signed-in", "nobody"] = "anyone"
    """Who may ask questions that a worker scores: anyone, those who have signed in, or nobody."""

    site: Literal["open", "closed"] = "open"
    """Who may read: open lets anyone, closed only those who have signed in."""

    annotations: Literal["own", "annotators", "everyone"] = "annotators"
    """Who sees what others say of a passage: own (nobody), annotators (and those above them) or everyone who reads."""

    session_days: int = Field(default=14, ge=1, le=366)
    """Days after which a browser has to sign in again."""

    sign_ins_per_minute: int = Field(default=10, ge=1)
    """Attempts to sign in that one address may make a minute; ten times as many may be made for one name."""

    search: Literal["exact", "index"] = "exact"
    """How a worker answers: exact scans every passage, index asks a run's FAISS index where it has one."""

    questions_per_minute: int = Field(default=60, ge=0)
    """Questions that one address, and one reader, may ask a minute; 0 = any number."""

    reads_per_minute: int = Field(default=12_000, ge=0)
    """Other requests that one address may make a minute; 0 = any number."""

    queued_questions: int = Field(default=1_000, ge=1)
    """Questions that may wait; beyond, asking is answered with 503."""

    job_seconds: float = Field(default=300.0, gt=0)
    """How long a worker may take for one question before it fails."""

    trusted_proxies: str = "127.0.0.1"
    """Addresses of proxies, joined by commas, that are believed when they name a client's own address; * is all."""

    metrics: bool = True
    """Serve /metrics, for Prometheus."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    @property
    def catalogue_url(self) -> str:
        """The catalogue's SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{(self.home / 'proponent.db').absolute()}"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process."""
    return Settings()
