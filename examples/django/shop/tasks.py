"""What happens to an order after the customer has gone on."""

from celery import shared_task

from shop.models import Order


@shared_task
def pay(number):
    """Safe to run twice: a payment that was noted is not made again."""
    Order.objects.filter(pk=number, state="ordered").update(state="paid")
    return number
