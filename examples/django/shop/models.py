"""An order, from when it is placed to when it is paid."""

from django.db import models


class Order(models.Model):
    item = models.CharField(max_length=100)
    state = models.CharField(max_length=20, default="ordered")

    def __str__(self):
        return f"{self.item}, {self.state}"
