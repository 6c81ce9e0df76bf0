"""All that a doctor says about a site, in the order in which it is read: Slurm, then each job's nodes. Pure."""

from collections.abc import Iterator

from launcher.core.site_facts import Job, SiteFacts
from launcher.report.between_findings import between_findings, folder_findings
from launcher.report.finding import Finding
from launcher.report.node_findings import agreement, machine_findings
from launcher.report.slurm_findings import slurm_findings


def findings(site: SiteFacts) -> list[tuple[str, list[Finding]]]:
    """Return the sections: a heading, and what there is to say under it."""
    if site.rules is None:
        told = [*machine_findings({site.here.name: site.here}), *folder_findings({site.here.name: site.folders})]
        return [("this machine", told)]
    unusable = list(folder_findings({site.here.name: [folder for folder in site.folders if folder.problem]}))
    return [("what Slurm allows", list(slurm_findings(site))),
            *([("this machine", unusable)] if unusable else []),
            *((_heading(job), list(_job(site, job))) for job in site.jobs)]


def _heading(job: Job) -> str:
    where = f" of partition {job.partition}" if job.partition else ""
    return f"{len(job.names) or 'no'} node{'' if len(job.names) == 1 else 's'}{where}"


def _job(site: SiteFacts, job: Job) -> Iterator[Finding]:
    yield from between_findings(job)
    yield from machine_findings(job.machines)
    if job.machines:
        here = site.here.name
        yield from agreement({**job.machines, here: site.here}, here)
