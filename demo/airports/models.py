"""The rows of an import: airports, and the nearest neighbours of each.

Every row has the number of the run that wrote it. A worker that was taken for dead and resumes writes rows of an older
run; they are never read, and the end of the newer run deletes them.
"""

import uuid

from django.db import models
from django.urls import reverse


class Upload(models.Model):
    """An uploaded file and the state of its import."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    filename = models.CharField(max_length=255)
    path = models.CharField(max_length=1024)
    encoding = models.CharField(max_length=16)
    owner_topic = models.CharField(max_length=128, blank=True, default="")
    """The Telltale topic of the visitor who uploaded it. Only this visitor sees its page."""
    run = models.PositiveIntegerField(default=0)
    """The number of the newest run of its import, from 1."""
    is_complete = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.filename

    def get_absolute_url(self) -> str:
        return reverse("import", args=[self.pk])


class Airport(models.Model):
    """One row of a file."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="airports")
    run = models.PositiveIntegerField()
    row = models.PositiveIntegerField()
    """Its line number in the file; the header is line 1."""
    code = models.CharField(max_length=16)
    name = models.CharField(max_length=255)
    city = models.CharField(max_length=255, blank=True)
    country = models.CharField(max_length=2)
    latitude = models.FloatField()
    longitude = models.FloatField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["upload", "run", "row"], name="airports_one_a_row")]

    def __str__(self) -> str:
        return f"{self.name} ({self.code})"


class Neighbour(models.Model):
    """One of the five airports nearest to another."""

    # An import deletes its neighbours before its airports, so Django need not look for them row by row.
    airport = models.ForeignKey(Airport, on_delete=models.DO_NOTHING, related_name="neighbours")
    other = models.ForeignKey(Airport, on_delete=models.DO_NOTHING, related_name="+")
    rank = models.PositiveSmallIntegerField()
    distance_km = models.FloatField()

    class Meta:
        ordering = ["airport", "rank"]

    def __str__(self) -> str:
        return f"{self.rank}: {self.other_id}, {self.distance_km:.0f} km"
